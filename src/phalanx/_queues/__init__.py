"""What queues are made of besides the core's channel."""
