"""What `phalanx.managers` is made of: the protocol, the server and its objects, links to it, proxies, the manager."""
