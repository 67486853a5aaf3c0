-- One row: two-batch over direct B_simple, for one trial at one phase.
-- A part is a task and a phase. $naive takes the small batch's mean squared norm for |G|^2, without subtracting its noise.
SELECT
    t.seed,
    concat_ws('/', split_part(t.task, '@', 1), s.phase) AS part,
    s.trace_two_batch
    / (s.norm2_two_batch + CASE WHEN $naive THEN s.trace_two_batch / s.small_batch_size ELSE 0 END)
    / s.b_simple AS value
FROM noise_scale AS s
JOIN trials AS t USING (trial_id)
