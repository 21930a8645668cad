"""What one lesson alone needs, its figures and its checks: one file a lesson, named as its notebook."""
