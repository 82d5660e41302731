package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/stoker-init/stoker/supervisor/incident"
)

// IncidentList is the answer of GET /v1/incidents.
type IncidentList struct {
	Incidents []incident.Summary `json:"incidents"` // the newest first
}

// incidents lists those that are kept.
func (s *Server) incidents(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, IncidentList{s.opts.Backend.Records.Incidents()})
}

// incident gives one with all of its evidence. It is for administrators: output
// and error reports may hold what is secret, and have been read from files that
// only the service's user may read.
func (s *Server) incident(w http.ResponseWriter, r *http.Request) {
	text := r.PathValue("number")
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		fail(w, http.StatusBadRequest, "bad-request", fmt.Sprintf("%q is not the number of an incident", text), "")
		return
	}
	i, ok := s.opts.Backend.Records.Incident(number)
	if !ok {
		fail(w, http.StatusNotFound, "no-such-incident", fmt.Sprintf("there is no incident %d", number),
			"stoker incidents lists those that are kept, the last ten")
		return
	}
	answer(w, http.StatusOK, i)
}

// Incidents are those that are kept, the newest first.
func (c *Client) Incidents(ctx context.Context) (list IncidentList, err error) {
	err = c.get(ctx, "/v1/incidents", &list)
	return list, err
}

// Incident is one with all of its evidence.
func (c *Client) Incident(ctx context.Context, number uint64) (i incident.Incident, err error) {
	err = c.get(ctx, "/v1/incidents/"+strconv.FormatUint(number, 10), &i)
	return i, err
}
