//go:build !unix

package model_test

// stand would stop the daemon's process, which only Unix has a signal for.
func (p *plant) stand(bool) { p.t.Skip("a snapshot of a running daemon needs SIGSTOP") }
