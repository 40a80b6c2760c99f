"""The command line, one file a command. Nothing here imports TensorFlow before the arguments are found good."""
