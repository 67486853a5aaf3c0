-- One row: one step of one path between constructed solutions; by how much the squared norm rises over it,
-- relative to the norm before it, 0 where it falls. $path is a LIKE pattern of paths.
WITH steps AS (
    SELECT
        t.seed,
        p.norm2,
        lag(p.norm2) OVER (PARTITION BY p.trial_id, p.path, p.modulus ORDER BY p.position) AS before
    FROM connecting_path AS p
    JOIN trials AS t USING (trial_id)
    WHERE p.path LIKE $path
)
SELECT seed, greatest(norm2 / before - 1, 0) AS value
FROM steps
WHERE before IS NOT NULL
