"""`olsim bench experiment`: a thousand runs against one Mesa run, common luck, the serving surface and its twins."""
