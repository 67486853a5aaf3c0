-- One row: one seed, factor of the batch size, other rule and arm; distance of the run's loss curve from that of the
-- base batch: mean over logged examples of |log loss - log loss of the base|. Arm 'theory' is the rule $theory,
-- arm 'other' each of $others (parted by commas); factors to $max_factor. Arm 'repeat' of the instrument's check is
-- the base once more, drawn without replacement; it stands beside every factor.
WITH distances AS (
-- include: scaling_distances.sql
),
pairs AS (
    SELECT
        o.seed,
        o.factor AS series,
        o.arm AS part,
        t.distance AS theory,
        o.distance AS other
    FROM distances AS o
    JOIN distances AS t ON t.seed = o.seed AND t.kind = o.kind AND t.arm = $theory AND t.factor IN (1, o.factor)
    WHERE o.kind = $rule AND o.factor <= $max_factor AND o.arm IN (SELECT unnest(string_split($others, ',')))
)
SELECT seed, series, part, arm, value
FROM pairs
UNPIVOT (value FOR arm IN (theory, other))
