"""The roles a process can play, each put together from its parts: core decides, connect talks to chargers, up is both."""
