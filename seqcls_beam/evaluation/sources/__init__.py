"""Where the rows of an evaluation come from: a file a source, each with a `plan`."""
