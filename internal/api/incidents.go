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

// incidents lists the kept incidents.
func (s *Server) incidents(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, IncidentList{s.opts.Backend.Incidents()})
}

// incident answers with an incident and its evidence. It needs the grant admin: output and
// error reports may hold secrets, from files that only the service's user may read.
func (s *Server) incident(w http.ResponseWriter, r *http.Request) {
	text := r.PathValue("number")
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		writeError(w, http.StatusBadRequest, "bad-request", fmt.Sprintf("%q is not the number of an incident", text), "")
		return
	}
	i, ok := s.opts.Backend.Incident(number)
	if !ok {
		writeError(w, http.StatusNotFound, "no-such-incident", fmt.Sprintf("there is no incident %d", number),
			"stoker incidents lists those that are kept, the last ten")
		return
	}
	writeJSON(w, http.StatusOK, i)
}

// Incidents returns the kept incidents, the newest first.
func (c *Client) Incidents(ctx context.Context) (list IncidentList, err error) {
	err = c.get(ctx, "/v1/incidents", &list)
	return list, err
}

// Incident returns an incident with its evidence.
func (c *Client) Incident(ctx context.Context, number uint64) (i incident.Incident, err error) {
	err = c.get(ctx, "/v1/incidents/"+strconv.FormatUint(number, 10), &i)
	return i, err
}
