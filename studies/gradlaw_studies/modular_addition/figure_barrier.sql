-- One row: matching and position of the path between two trained networks; mean, smallest and largest loss
-- over pairs of networks.
SELECT
    b.matching,
    b.position,
    avg(b.loss) AS loss,
    min(b.loss) AS loss_low,
    max(b.loss) AS loss_high,
    count(*) AS num_pairs
FROM barrier AS b
GROUP BY b.matching, b.position
ORDER BY ALL
