"""An encoder, a head and a loss for nucleiseg. Copy the folder, rename it, and put your own in their place."""
