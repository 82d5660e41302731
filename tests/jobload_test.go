//go:build container

package tests

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor"
)

// jobsPerSecond is the rate of jobs beside a Tomcat under load.
const jobsPerSecond = 4

// latencies sends requests at a steady rate and returns how long after its due time each was answered, sorted: what waits for
// a slow answer counts too.
func latencies(t *testing.T, url string, rate int, during time.Duration) []time.Duration {
	t.Helper()
	const clients = 32
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	count := int(during.Seconds() * float64(rate))
	took, began := make([]time.Duration, count), time.Now()
	due := make(chan int, count)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() { // ends with the last request
			for k := range due {
				at := began.Add(time.Duration(k) * time.Second / time.Duration(rate))
				pass(time.Until(at))
				resp, err := client.Get(url)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if err == nil && resp.StatusCode != http.StatusOK {
						err = fmt.Errorf("answered %s", resp.Status)
					}
				}
				if err != nil {
					t.Errorf("request %d: %v", k, err)
				}
				took[k] = time.Since(at)
			}
		})
	}
	for k := range count {
		due <- k
	}
	close(due)
	all.Wait()
	slices.Sort(took)
	return took
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(q*float64(len(sorted)-1))]
}

// jobsAt submits a job several times a second until stop. A job without a command: none.
func (b *jobBox) jobsAt(spec executor.Spec, stop <-chan struct{}) (ids []executor.ID) {
	tick := time.NewTicker(time.Second / jobsPerSecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return ids
		case <-tick.C:
		}
		if spec.Command == nil {
			continue
		}
		job, _, err := b.client.Submit(b.t.Context(), spec)
		if err != nil {
			b.t.Error(err)
			continue
		}
		ids = append(ids, job.ID)
	}
}

// A real Tomcat under load keeps its response times beside 4 jobs a second in the same container. The kinds of jobs take turns, so
// that other work on the machine affects all. STOKER_LOAD=long measures; STOKER_LOAD_RATE is the number of requests a second.
func TestJobsBesideLoad(t *testing.T) {
	turn, rounds := time.Second, 1
	if longLoad() {
		turn, rounds = 10*time.Second, 9
	}
	rate := number(t, "STOKER_LOAD_RATE", 200)
	c := newJobContainer(t, []string{"--memory", "1g", "--memory-swap", "1g", "--cpus", strconv.Itoa(min(2, runtime.NumCPU()))})
	pid, nice := c.tomcat(), 10
	url := "http://" + c.inspect("{{.NetworkSettings.IPAddress}}") + ":8080/app/"
	latencies(t, url, rate, 3*turn) // warm-up
	burn := executor.Spec{Command: []string{"perl", "-e", "1 while (times)[0] < 0.1"}, Attributes: executor.Attributes{Nice: &nice}}
	kinds := []struct {
		name string
		spec executor.Spec
	}{{"no jobs", executor.Spec{}}, {"/bin/true", executor.Spec{Command: []string{"/bin/true"}}}, {"100 ms of CPU at nice 10", burn}}
	all, p99s, jobs := make([][]time.Duration, len(kinds)), make([][]float64, len(kinds)), make([]int, len(kinds))
	for round := range rounds {
		for turns := range kinds {
			k := (round + turns) % len(kinds)
			stop, submitted := make(chan struct{}), make(chan []executor.ID)
			go func() { submitted <- c.jobsAt(kinds[k].spec, stop) }() // ends with stop
			took := latencies(t, url, rate, turn)
			close(stop)
			for _, id := range <-submitted {
				c.wantState(id, executor.Succeeded)
				jobs[k]++
			}
			all[k] = append(all[k], took...)
			p99s[k] = append(p99s[k], quantile(took, 0.99).Seconds())
		}
	}
	t.Logf("%d rounds of %v, %d requests/s; p99 ratio: median of the rounds", rounds, turn, rate)
	for k, kind := range kinds {
		slices.Sort(all[k])
		var ratios []float64
		for round := range rounds {
			ratios = append(ratios, p99s[k][round]/p99s[0][round])
		}
		slices.Sort(ratios)
		t.Logf("%-26s p50 %6.2f ms, p99 %6.2f ms, p99.9 %6.2f ms, p99 ratio %.2f, %d jobs", kind.name, milliseconds(quantile(all[k], 0.5)),
			milliseconds(quantile(all[k], 0.99)), milliseconds(quantile(all[k], 0.999)), ratios[len(ratios)/2], jobs[k])
		if want := int(turn.Seconds()*jobsPerSecond) * rounds / 2; k > 0 && jobs[k] < want {
			t.Errorf("%s: %d jobs ran, want at least %d", kind.name, jobs[k], want)
		}
	}
	if now := c.tomcat(); now != pid {
		t.Errorf("Tomcat was process %d and is %d", pid, now)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
