"""The receiver of logs that chargers upload, the places they are kept in, and how operators read them back."""
