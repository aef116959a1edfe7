"""What runs the commands elsewhere: scripts, manifests, templates, and what writes those of them that are generated."""
