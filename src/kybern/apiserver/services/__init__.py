"""What Services get from the server: addresses, node ports, and the Service of the servers themselves."""
