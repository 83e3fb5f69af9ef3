"""AWS Certificate Manager: the certificates that load balancers show in our place."""
