"""STAND-IN of a broker's package and of its provisioning; brokers are outside Hooper."""
