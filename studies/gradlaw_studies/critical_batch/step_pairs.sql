-- One row: one seed, power of two (series; with the hidden units where those differ) and arm; ln of the seconds a
-- sample at the power, or the mean of those of its two neighbours, of kind $kind ('by_one' or 'by_eight'): on a log
-- scale, so that a time that only falls or rises steadily with B gives no difference.
-- $source: 'measured', or a check of the instrument: 'planted', where a power of two takes 0.9 times what its
-- neighbours do, and 'level', where all take the same.
SELECT
    t.seed,
    format('{}/{}', t.hidden_units, s.base) AS series,
    CASE s.kind WHEN 'power' THEN 'power' ELSE 'neighbours' END AS arm,
    avg(
        CASE $source
            WHEN 'measured' THEN ln(s.seconds_a_sample)
            WHEN 'planted' THEN CASE s.kind WHEN 'power' THEN ln(0.9) ELSE 0 END
            WHEN 'level' THEN 0
        END
    ) AS value
FROM step_time AS s
JOIN trials AS t USING (trial_id)
WHERE s.kind IN ('power', $kind)
GROUP BY t.seed, t.trial_id, t.hidden_units, s.base, arm
HAVING bool_and(s.base IN (SELECT base FROM step_time WHERE kind = $kind))
