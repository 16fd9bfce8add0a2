package exporter

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/mailer"
)

// A Job is one export of the configuration.
type Job struct {
	Name     string
	Schedule *Schedule
	// Folder takes the files. It must be there: a folder that is made where a
	// medium is not mounted would take reports that nobody ever finds.
	Folder string
	Level  export.Level
	// Mode of the files.
	Mode uint32
	// Wrap says how they are wrapped.
	Wrap export.WrapOptions
	// Mail is where each file is mailed to; nil: nowhere.
	Mail *Mail
	// Command is run after each file is in place, with its path as last argument;
	// empty: none is.
	Command []string
	// CommandTime is how long it may run.
	CommandTime time.Duration
	// Keep is how many files stay; 0: all. Those that no receipt covers stay too.
	Keep int
	// OneWay says that nothing can be read back from Folder: every run writes its
	// file, whatever came before, and its digest beside it.
	OneWay bool
}

// Mail is a relay and who gets a report.
type Mail struct {
	Relay mailer.Relay
	To    []string
}

// Codes of runs that failed.
const (
	CodeFolder  = "export_folder_unusable" // the file cannot be written there
	CodeMail    = "export_mail_failed"     // the relay did not take the mail
	CodeCommand = "export_command_failed"  // the command ended with an error, or not in time
	CodeFailed  = "export_failed"          // anything else that has no code of its own
)

// Results of a run.
const (
	Exported   = "exported"    // a file is in place, mailed, handed to the command
	NothingNew = "nothing_new" // a receipt covers everything, or the file is there as it would be written
	Failed     = "failed"      // tried again until it is done
	Delivering = "delivering"  // a file is in place, the mail or the command under way
)

// Results lists those that a run ends with.
var Results = []string{Exported, NothingNew, Failed}

// States of a job.
const (
	Waiting = "waiting" // for its next period
	Running = "running" // a run is under way
	Failing = "failing" // the last run failed; it is tried again
	Overdue = "overdue" // a period has come, and for minutes no run
)

// runsKept bounds the runs that are remembered of a job, periodsListed the periods
// that one run lists: the newest of more, which PeriodsAll counts.
const (
	runsKept      = 20
	periodsListed = 100
)

// A Run is what became of one or more periods. A run that failed is tried again
// and stays the same run.
type Run struct {
	Number   uint64    `json:"number" doc:"from 1"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished" doc:"of the last attempt"`
	Attempts int       `json:"attempts"`
	Manual   bool      `json:"manual" doc:"somebody asked for it"`
	// Periods are the instants of the schedule that it stands for. More than one
	// were missed and are caught up: the report has all that is new anyway.
	Periods    []time.Time `json:"periods" nullable:"false" doc:"instants of the schedule that it stands for; more than one were missed and caught up. The newest 100"`
	PeriodsAll int         `json:"periods_all" doc:"how many there are"`
	Result     string      `json:"result" enum:"exported,nothing_new,failed,delivering"`
	Code       string      `json:"code,omitempty" doc:"of a run that failed"`
	Message    string      `json:"message,omitempty"`
	Hint       string      `json:"hint,omitempty"`

	File        string     `json:"file,omitempty" doc:"name of the file that is in the folder"`
	Bytes       int64      `json:"bytes,omitempty" doc:"of the file"`
	SHA256      string     `json:"sha256,omitempty" doc:"of the file"`
	RecordsFrom uint64     `json:"records_from,omitempty" doc:"index of the first record"`
	RecordsTo   uint64     `json:"records_to,omitempty" doc:"index behind the last record"`
	From        *time.Time `json:"from,omitempty" doc:"windows from here"`
	Until       *time.Time `json:"until,omitempty" doc:"windows up to here"`
}

// Overview is the answer of GET /v1/exports.
type Overview struct {
	Exports []JobStatus   `json:"exports" nullable:"false"`
	Inbox   []InboxStatus `json:"inbox" nullable:"false" doc:"folders that replies are taken from"`
}

// JobStatus is a job and what became of it.
type JobStatus struct {
	Name     string    `json:"name"`
	Schedule string    `json:"schedule"`
	Zone     string    `json:"zone"`
	Folder   string    `json:"folder"`
	Level    string    `json:"level"`
	OneWay   bool      `json:"one_way"`
	Keep     int       `json:"keep" doc:"files that stay; 0: all"`
	MailTo   []string  `json:"mail_to" nullable:"false"`
	Command  []string  `json:"command" nullable:"false"`
	State    string    `json:"state" enum:"waiting,running,failing,overdue"`
	Next     time.Time `json:"next" doc:"the first period that is not done"`
	Retry    time.Time `json:"retry,omitzero" doc:"of a failing one: when it is tried again"`
	// Succeeded is when a run last ended well.
	Succeeded time.Time `json:"succeeded,omitzero" doc:"when a run last ended well"`
	Last      *Run      `json:"last,omitempty"`
	Runs      []Run     `json:"runs" nullable:"false" doc:"the last 20, newest first"`
}

// state is what is kept of a job.
type state struct {
	Version   int       `json:"version"`
	Number    uint64    `json:"number"` // of the last run
	Done      time.Time `json:"done"`   // periods up to here are done
	Succeeded time.Time `json:"succeeded,omitzero"`
	Text      string    `json:"text,omitempty"` // SHA-256 of the report that was placed last, before wrapping
	Delivery  *delivery `json:"delivery,omitempty"`
	Runs      []Run     `json:"runs"` // newest first
}

// delivery is a file in place that is not yet mailed or handed to the command.
type delivery struct {
	Mailed bool `json:"mailed"` // only the command is left
}

const stateVersion = 1

// load reads the state of a job. Of one that is new the first period is the next.
func (r *runner) load() error {
	b, err := r.x.Site.Document(r.Name)
	if err != nil {
		return err
	}
	if b == nil {
		r.state = state{Version: stateVersion, Done: r.x.Now().UTC()}
		return r.keep()
	}
	if err := json.Unmarshal(b, &r.state); err != nil || r.state.Version != stateVersion {
		return fmt.Errorf("state of export %q: version %d, want %d: %w", r.Name, r.state.Version, stateVersion, err)
	}
	return nil
}

// keep writes the state. It is on disk when keep returns.
func (r *runner) keep() error {
	r.mu.Lock()
	b, err := json.Marshal(r.state)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	if err := r.x.Site.KeepDocument(r.Name, b); err != nil {
		return fmt.Errorf("keep state of export %q: %w", r.Name, err)
	}
	return nil
}

func (r *runner) status(now time.Time) JobStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := JobStatus{Name: r.Name, Schedule: r.Schedule.String(), Zone: r.Schedule.Zone().String(), Folder: r.Folder, Level: r.Level.String(),
		OneWay: r.OneWay, Keep: r.Keep, MailTo: []string{}, Command: append([]string{}, r.Command...), State: Waiting,
		Next: r.Schedule.Next(r.state.Done).UTC(), Succeeded: r.state.Succeeded, Runs: append([]Run{}, r.state.Runs...)}
	if r.Mail != nil {
		s.MailTo = append(s.MailTo, r.Mail.To...)
	}
	if len(s.Runs) > 0 {
		s.Last = &s.Runs[0]
	}
	switch {
	case s.Last != nil && s.Last.Result == Failed:
		s.State, s.Retry = Failing, r.retry.UTC()
	case r.busy || s.Last != nil && s.Last.Result == Delivering:
		s.State = Running
	}
	if s.State != Failing && !s.Next.IsZero() && now.Sub(s.Next) > overdueAfter {
		s.State = Overdue
	}
	return s
}

// overdueAfter is how long after its period a run is no longer on its way.
const overdueAfter = 10 * time.Minute
