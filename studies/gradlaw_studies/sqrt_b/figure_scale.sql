-- One row: one trial at one phase; B_simple directly and from two batch sizes, in samples.
SELECT split_part(t.task, '@', 1) AS task, s.phase, t.seed, s.b_simple, s.b_simple_two_batch
FROM noise_scale AS s
JOIN trials AS t USING (trial_id)
ORDER BY ALL
