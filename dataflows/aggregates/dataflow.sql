-- Every aggregate function: over events, over an updating view whose rows are replaced and taken back, and over
-- everything at once.

CREATE SOURCE trips (
    vehicle TEXT      NOT NULL,
    driver  TEXT,
    km      DOUBLE,
    stops   BIGINT,
    late    BOOLEAN,
    note    JSON,
    ts      TIMESTAMP NOT NULL
) WITH (connector = 'kafka', topic = 'trips');

-- State that grows with every event: texts, arrays, medians. It has to be accepted.
CREATE MATERIALIZED VIEW logs WITH (state_retention = 'unbounded') AS
SELECT vehicle,
       string_agg(driver, ', ')                                  AS drivers,
       string_agg(driver, ' < ' ORDER BY km DESC NULLS LAST, ts) AS by_km,
       string_agg(DISTINCT driver, ', ')                         AS distinct_drivers,
       array_agg(km)                                             AS km,
       array_agg(stops ORDER BY ts DESC) FILTER (WHERE late)     AS late_stops,
       array_agg(note) IGNORE NULLS                              AS notes,
       array_agg(DISTINCT late)                                  AS lateness,
       median(km)                                                AS median_km,
       median(stops)                                             AS median_stops,
       quantile_cont(km, 0.9)                                    AS p90,
       percentile_cont(0.1) WITHIN GROUP (ORDER BY km DESC)      AS p90_again,
       sigma_clipped_percentile(km, 0.9, 1.5)                    AS p90_near,
       sigma_clipped_percentile(0.1, 1.5) WITHIN GROUP (ORDER BY km DESC) FILTER (WHERE stops > 0) AS p90_near_stops
FROM trips
GROUP BY vehicle;

CREATE MATERIALIZED VIEW per_vehicle AS
SELECT vehicle,
       count(*)                                                  AS trips,
       count(DISTINCT driver)                                    AS drivers,
       count(DISTINCT stops) FILTER (WHERE stops > 1)            AS stop_counts,
       approx_distinct(driver)                                   AS about_drivers,
       sum(DISTINCT stops)                                       AS distinct_stops,
       avg(DISTINCT km)                                          AS distinct_mean,
       var_pop(km)                                               AS variance,
       var_samp(km)                                              AS sample_variance,
       stddev_pop(km)                                            AS deviation,
       stddev(stops)                                             AS stop_deviation,
       bool_and(late)                                            AS always_late,
       bool_or(late)                                             AS ever_late,
       bit_and(stops)                                            AS bits_and,
       bit_or(stops)                                             AS bits_or,
       bit_xor(stops)                                            AS bits_xor,
       min(late)                                                 AS least_late,
       last_value(driver ORDER BY ts)                            AS last_driver,
       last_value(driver ORDER BY ts) IGNORE NULLS               AS known_driver,
       first_value(driver ORDER BY km DESC, ts) FILTER (WHERE km IS NOT NULL) AS longest_driver,
       last_value(km ORDER BY stops, ts) FILTER (WHERE stops IS NOT NULL)     AS most_stops_km,
       max(CAST(stops AS TEXT))                                  AS stops_as_text,
       max(stops)                                                AS stops_as_number,
       approx_percentile_cont(km, 0.5)                           AS about_median,
       approx_percentile_cont(0.25) WITHIN GROUP (ORDER BY stops DESC)        AS about_stops
FROM trips
GROUP BY vehicle;

-- Over an updating view nothing has to be accepted: its rows are bounded by its keys.
CREATE MATERIALIZED VIEW per_driver AS
SELECT known_driver                                              AS driver,
       count(*)                                                  AS vehicles,
       count(DISTINCT trips)                                     AS trip_counts,
       approx_distinct(trips)                                    AS about_trip_counts,
       sum(DISTINCT trips)                                       AS distinct_trips,
       string_agg(vehicle, ', ' ORDER BY vehicle)                AS names,
       string_agg(vehicle, ', ' ORDER BY trips DESC, vehicle)    AS by_trips,
       array_agg(trips ORDER BY vehicle)                         AS trips,
       median(deviation)                                         AS deviation,
       percentile_cont(0.25) WITHIN GROUP (ORDER BY trips)       AS p25,
       approx_percentile_cont(trips, 0.25)                       AS p25_again,
       sigma_clipped_percentile(trips, 0.5, 1)                   AS near_median,
       var_pop(trips)                                            AS variance,
       stddev_samp(most_stops_km)                                AS km_deviation,
       bool_and(ever_late)                                       AS all_late,
       bool_or(always_late)                                      AS any_always_late,
       bit_and(trips)                                            AS bits_and,
       bit_or(trips)                                             AS bits_or,
       bit_xor(trips)                                            AS bits_xor,
       min(stop_deviation)                                       AS steadiest,
       corr(most_stops_km, trips)                                AS related,
       regr_slope(most_stops_km, trips)                          AS slope,
       covar_pop(trips, drivers)                                 AS drivers_by_trip,
       first_value(vehicle ORDER BY trips DESC, vehicle)         AS busiest
FROM per_vehicle
GROUP BY known_driver;

-- What kilometres and stops of a trip have to do with each other.
CREATE MATERIALIZED VIEW pairs AS
SELECT vehicle,
       corr(km, stops)                                           AS related,
       corr(km, stops) FILTER (WHERE late)                       AS related_if_late,
       covar_pop(km, stops)                                      AS covariance,
       covar_samp(km, stops)                                     AS sample_covariance,
       regr_slope(km, stops)                                     AS slope,
       regr_intercept(km, stops)                                 AS intercept,
       regr_r2(km, stops)                                        AS determination,
       regr_count(km, stops)                                     AS pairs,
       regr_avgx(km, stops)                                      AS mean_stops,
       regr_avgy(km, stops)                                      AS mean_km,
       regr_sxx(km, stops)                                       AS sxx,
       regr_syy(km, stops)                                       AS syy,
       regr_sxy(km, stops)                                       AS sxy
FROM trips
GROUP BY vehicle;

CREATE MATERIALIZED VIEW overall AS
SELECT count(*) AS trips, count(DISTINCT vehicle) AS vehicles, approx_distinct(driver) AS drivers,
       stddev_pop(km) AS deviation, bool_or(late) AS late, corr(stops, km) AS related
FROM trips;

CREATE SINK logs_out FROM logs WITH (connector = 'mongodb', collection = 'logs', mode = 'upsert');
CREATE SINK vehicles_out FROM per_vehicle WITH (connector = 'mongodb', collection = 'vehicles', mode = 'upsert');
CREATE SINK pairs_out FROM pairs WITH (connector = 'mongodb', collection = 'pairs', mode = 'upsert');
CREATE SINK drivers_out FROM per_driver WITH (connector = 'kafka', topic = 'drivers', mode = 'upsert');
CREATE SINK overall_out FROM overall WITH (connector = 'kafka', topic = 'everything', mode = 'upsert');
