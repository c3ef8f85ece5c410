"""Reports: the headline, figures as pure functions of frames, and the HTML and Markdown documents."""
