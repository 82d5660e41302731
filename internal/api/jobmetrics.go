package api

import (
	"maps"
	"slices"
	"strconv"

	"github.com/stoker-init/stoker/executor"
)

// jobMetrics are those of an executor.
func jobMetrics(x *exposition, m executor.Metrics) {
	x.single("stoker_jobs_accepted_total", "counter", "Accepted jobs.", float64(m.Accepted))
	x.family("stoker_jobs_refused_total", "counter", "Refused submissions by the code of the answer.")
	for _, code := range slices.Sorted(maps.Keys(m.Refused)) {
		x.sample(float64(m.Refused[code]), "code", code)
	}
	x.family("stoker_jobs_ended_total", "counter", "Ended jobs by final state.")
	for _, state := range executor.States() {
		if state.Final() {
			x.sample(float64(m.Ended[state]), "state", string(state))
		}
	}
	x.single("stoker_jobs_running", "gauge", "Jobs that have a slot.", float64(m.Running))
	x.single("stoker_jobs_waiting", "gauge", "Accepted jobs without a slot.", float64(m.Waiting))
	x.single("stoker_jobs_oldest_waiting_seconds", "gauge", "Time since which the job that waits longest could have begun; 0 if none waits.",
		m.Oldest.Seconds())
	x.single("stoker_job_slots", "gauge", "Jobs that can run at a time.", float64(m.Slots))
	x.family("stoker_job_start_seconds", "histogram", "Time from the acceptance of a job, or the planned time of an attempt, to its process.")
	x.histogram(m.Starts)
	x.single("stoker_job_retries_total", "counter", "Attempts after the first one of a job.", float64(m.Retries))
	x.single("stoker_job_output_bytes_total", "counter", "Bytes that ended attempts have written to stdout and stderr.", float64(m.Output))
	x.single("stoker_executor_available", "gauge", "1 if the journal can be used.", boolean(m.Unavailable == ""))
	x.single("stoker_executor_paused", "gauge", "1 if an operator has paused the executor.", boolean(m.Held))
	x.single("stoker_executor_draining", "gauge", "1 if no jobs are accepted: drained, or the container stops.", boolean(m.Draining != ""))
	x.single("stoker_executor_braked", "gauge", "1 if no jobs are started because several in a row could not be.", boolean(m.Braked))
	x.single("stoker_executor_journal_jobs", "gauge", "Jobs in the journal.", float64(m.Kept))
	x.single("stoker_executor_journal_bytes", "gauge", "Size of the journal.", float64(m.Bytes))
	x.single("stoker_executor_journal_damaged", "gauge", "Parts of the journal that cannot be read.", float64(len(m.Damage)))
}

// histogram adds the samples of a histogram.
func (x *exposition) histogram(h executor.Histogram) {
	name, count := x.name, int64(0)
	x.name = name + "_bucket"
	for k, n := range h.Counts {
		count += n
		limit := "+Inf"
		if k < len(h.Bounds) {
			limit = strconv.FormatFloat(h.Bounds[k].Seconds(), 'f', -1, 64)
		}
		x.sample(float64(count), "le", limit)
	}
	x.name = name + "_sum"
	x.sample(h.Sum.Seconds())
	x.name = name + "_count"
	x.sample(float64(count))
}
