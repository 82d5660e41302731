package executor

// Codes of the API's errors about jobs, in the field error.code of an answer.
const (
	CodeNoExecutor  = "no-executor"  // 404: none is configured
	CodeNoJob       = "no-such-job"  // 404: ErrNoJob
	CodeNoArtifact  = "no-artifact"  // 404
	CodeEnded       = "job-ended"    // 409: ErrFinal
	CodeConflict    = "key-conflict" // 409: a ConflictError, with error.job and error.diff
	CodeBadSpec     = "bad-spec"     // 422: a SpecError, with error.fields
	CodeFull        = "queue-full"   // 429: a FullError, with the header Retry-After
	CodeDraining    = "draining"     // 503: ErrDraining
	CodeStopping    = "stopping"     // 503: the container stops
	CodeUnavailable = "unavailable"  // 503: an UnavailableError
	CodeNoSpace     = "no-space"     // 507: the same, for want of space
)

// Headers of the output of a job.
const (
	// OffsetHeader is where the bytes of the answer begin in the stream.
	OffsetHeader = "X-Stoker-Offset"
	// AttemptHeader is the attempt whose output it is.
	AttemptHeader = "X-Stoker-Attempt"
	// NextHeader is a trailer: the bytes between the end of the answer and this offset are not kept; the stream goes on there.
	NextHeader = "X-Stoker-Next"
)
