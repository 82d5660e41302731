package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/journal"
)

const (
	keptRounds = 5   // of the start
	keptJobs   = 300 // that are measured beside each number of kept ones
	keptRest   = 5 * time.Second
)

// writeJobs makes a journal with so many jobs that have ended.
func writeJobs(folder string, count int) error {
	j, _, err := journal.Open(filepath.Join(folder, "journal"), journal.Options{})
	if err != nil {
		return err
	}
	begin := time.Now().Add(-time.Hour)
	for n := range count {
		job := executor.Job{ID: executor.ID(begin.UnixMilli())<<20 + executor.ID(n), State: executor.Accepted, Accepted: begin,
			Spec: executor.Spec{Key: fmt.Sprintf("kept-%d", n), Command: []string{jobCommand, "--some", "argument"}}, SubmittedBy: "uid 0"}
		for _, kind := range []journal.Kind{journal.Accepted, journal.Begun, journal.Ended} {
			switch kind {
			case journal.Begun:
				job.State, job.Attempt, job.Started = executor.Starting, 1, begin
			case journal.Ended:
				job.State, job.Exit, job.Ended = executor.Succeeded, &executor.Exit{Ended: begin}, begin
			}
			data, err := json.Marshal(job)
			if err != nil {
				return err
			}
			j.Append(journal.Record{ID: uint64(job.ID), Key: job.Spec.Key, Kind: kind, Data: data})
		}
	}
	if have := j.Stats().Entries; have != count {
		return fmt.Errorf("the journal has %d of %d jobs", have, count)
	}
	return j.Close()
}

// kept measures what the number of jobs in the journal costs: the start, the memory and each further job.
func (b *bench) kept() (string, error) {
	counts := []int{0, 1000, 10_000, 100_000}
	folders := map[int]string{}
	for _, count := range counts {
		fmt.Fprintf(os.Stderr, "kept: %d jobs\n", count)
		folders[count] = filepath.Join(b.work, fmt.Sprintf("kept-%d", count))
		if err := os.Mkdir(folders[count], 0o711); err != nil {
			return "", err
		}
		if err := writeJobs(folders[count], count); err != nil {
			return "", err
		}
	}
	start := map[int][]float64{}
	boxes := map[int]*jobBox{}
	for round := range keptRounds {
		for _, count := range counts {
			x, err := b.openJobs(folders[count])
			if err != nil {
				return "", err
			}
			start[count] = append(start[count], x.ready)
			if round < keptRounds-1 {
				x.close()
				continue
			}
			defer x.close()
			boxes[count] = x
		}
	}
	time.Sleep(keptRest)
	memory := map[int]float64{}
	for _, count := range counts {
		u, err := boxes[count].usage()
		if err != nil {
			return "", err
		}
		memory[count] = u.pss
	}
	raw, times, cpu, err := measureKept(counts, boxes)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString("\n| jobs in the journal | start to an answer (ms) | memory, PSS (MiB) | a job (ms) | of raw | CPU time of it (ms) |\n" +
		"|---:|---:|---:|---:|---:|---:|\n")
	for _, count := range counts {
		ready, _ := median(start[count])
		v, _ := median(times[count])
		fmt.Fprintf(&out, "| %d | %s | %s | %s | %sx | %s |\n", count, figure(ready), figure(memory[count]), figure(v), figure(v/raw),
			figure(cpu[count]))
	}
	out.WriteString("\nGoals: with 100000 a start within 1 s, 15 MiB more than with none, and the same for each job.\n")
	return out.String(), nil
}

// measureKept alternates between the boxes. It returns ms: of a raw start, of the jobs, and the processor time of stoker for each.
func measureKept(counts []int, boxes map[int]*jobBox) (raw float64, times map[int][]float64, cpu map[int]float64, err error) {
	times, cpu = map[int][]float64{}, map[int]float64{}
	for _, count := range counts {
		u, err := boxes[count].usage()
		if err != nil {
			return 0, nil, nil, err
		}
		cpu[count] = -u.cpu
	}
	var raws []float64
	for range keptJobs {
		began := time.Now()
		if err := rawSpawn(); err != nil {
			return 0, nil, nil, err
		}
		raws = append(raws, since(began))
		for _, count := range counts {
			began := time.Now()
			if err := boxes[count].run(); err != nil {
				return 0, nil, nil, err
			}
			times[count] = append(times[count], since(began))
		}
	}
	for _, count := range counts {
		u, err := boxes[count].usage()
		if err != nil {
			return 0, nil, nil, err
		}
		cpu[count] = (cpu[count] + u.cpu) / keptJobs
	}
	raw, _ = median(raws)
	return raw, times, cpu, nil
}

// usage is that of the init and the supervisor.
func (j *jobBox) usage() (usage, error) {
	own, _, err := j.processes()
	if err != nil {
		return usage{}, err
	}
	return measureUsage(own)
}
