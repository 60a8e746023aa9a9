"""What `phalanx.connection` is made of: frames, the stream, waiting, addresses, authentication, listening."""
