"""What a person sees of a command: how far it is while it works, and what came of it. A file a command."""
