"""What an executor adds to the pool's runtime: growth on demand, taking tasks back, breaking when a worker dies."""
