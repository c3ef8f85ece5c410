"""cadCAD: the daily phases as an experiment of cadCAD 0.5.3, so that another engine can check this one."""
