"""What a charger holds by three accounts - issued, reported, seen - side by side, and what may be deleted of it."""
