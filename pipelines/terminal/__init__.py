"""What a person sees of a command: how it begins, how far it is, and what came of it. A file a command.

Sentences for which a command ends, or goes on all the same, are said by `pipelines.command.say`.
"""
