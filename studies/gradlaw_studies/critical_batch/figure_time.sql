-- One row: one width of the timed network, batch size and kind; microseconds a sample, median over seeds, and its
-- ratio to the mean (of logs) over all batch sizes timed about the same power of two.
WITH logs AS (
    SELECT
        t.seed,
        t.hidden_units,
        s.batch_size,
        s.kind,
        s.base,
        ln(s.seconds_a_sample) AS log_s,
        ln(s.seconds_a_sample) - avg(ln(s.seconds_a_sample)) OVER (PARTITION BY s.trial_id, s.base) AS log_ratio
    FROM step_time AS s
    JOIN trials AS t USING (trial_id)
)
SELECT
    hidden_units,
    batch_size,
    kind,
    base,
    1e6 * exp(median(log_s)) AS microseconds,
    exp(median(log_ratio)) AS ratio
FROM logs
GROUP BY ALL
ORDER BY ALL
