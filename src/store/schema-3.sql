-- Version 3: labels, by which people know the machines of nodes.
-- A change of this file is a new file and a new version.

ALTER TABLE certificate ADD COLUMN label TEXT;

CREATE INDEX certificate_by_label ON certificate (label) WHERE label IS NOT NULL;
