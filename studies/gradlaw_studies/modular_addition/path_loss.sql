-- One row: one position of one path between constructed solutions; its loss. $path is a LIKE pattern of paths.
SELECT t.seed, p.loss AS value
FROM connecting_path AS p
JOIN trials AS t USING (trial_id)
WHERE p.path LIKE $path
