-- Which certificates of an incident its rule had not chosen when it was opened.

ALTER TABLE certificate ADD COLUMN came_later boolean NOT NULL DEFAULT false;
