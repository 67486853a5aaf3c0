-- One row: one timing, and whether the machine was quiet: the readings of a batch size, median over sizes, spread
-- (interquartile range over median) by at most $spread.
SELECT trial_id, median(spread) <= $spread AS passed
FROM step_time
GROUP BY trial_id
