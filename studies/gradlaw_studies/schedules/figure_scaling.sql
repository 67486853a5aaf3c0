-- One row: one seed, rule, scaling and factor of the batch size; distance of the loss curve from the base batch's.
WITH distances AS (
-- include: scaling_distances.sql
)
SELECT seed, kind AS rule, arm, factor, distance
FROM distances
ORDER BY rule, arm, factor, seed
