-- One row: one trial of the decays (shapes of the lr compared at equal task, steps and batch size); passed if
-- it ended, soundly or by diverging: a peak at which training diverges is data.
SELECT trial_id, state IN ('done', 'diverged') AS passed
FROM trials
WHERE (task, steps, batch_size) IN (
    SELECT (task, steps, batch_size) FROM trials WHERE schedule LIKE 'cosine_decay@%'
)
