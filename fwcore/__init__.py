"""fwcore: what a stateful firewall does when memory runs out."""
