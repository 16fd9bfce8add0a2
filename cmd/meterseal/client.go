package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/cli"
)

// httpClient asks a running daemon.
type httpClient struct {
	base    string
	timeout time.Duration
	token   string // "": none is shown
	http    *http.Client
}

func httpFlags(cmd *cobra.Command) {
	def := os.Getenv("METERSEAL_URL")
	if def == "" {
		def = "http://127.0.0.1:8633"
	}
	cmd.Flags().String("http", def, "URL of the daemon's HTTP API")
	cmd.Flags().Duration("timeout", time.Minute, "give up after this time")
	cmd.Flags().String("token-file", os.Getenv("METERSEAL_TOKEN_FILE"), "file with a token for it")
	cmd.Flags().String("ca-file", os.Getenv("METERSEAL_CA_FILE"), "who issued its certificate, if not public (PEM)")
}

func clientOf(cmd *cobra.Command) (*httpClient, error) {
	base, _ := cmd.Flags().GetString("http")
	timeout, _ := cmd.Flags().GetDuration("timeout")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	if u, err := url.Parse(base); err != nil || u.Host == "" {
		return nil, cli.Fail(cli.ExitUsage, "config_invalid", "give --http http://HOST:PORT", "--http %q is no URL", base)
	}
	c := &httpClient{base: strings.TrimSuffix(base, "/"), timeout: timeout, http: http.DefaultClient}
	if file, _ := cmd.Flags().GetString("token-file"); file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, cli.Fail(cli.ExitUsage, "config_invalid", "correct --token-file, or METERSEAL_TOKEN_FILE", "read the token: %v", err)
		}
		c.token = strings.TrimSpace(string(data))
	}
	if file, _ := cmd.Flags().GetString("ca-file"); file != "" {
		pool, err := readAuthorities(file)
		if err != nil {
			return nil, cli.Fail(cli.ExitUsage, "config_invalid", "correct --ca-file, or METERSEAL_CA_FILE", "%v", err)
		}
		c.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}}}
	}
	return c, nil
}

// do sends a request and returns the answer if it is a success; the caller
// closes its body. Any other answer is an error with the daemon's own code.
func (c *httpClient) do(ctx context.Context, method, path string, query url.Values, contentType string, body io.Reader) (*http.Response, error) {
	u := c.base + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	// The time is for the answer to begin: a backup takes as long as it takes.
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(c.timeout, cancel)
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		cancel()
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	inTime := late.Stop()
	if err != nil {
		cancel()
		if !inTime {
			return nil, cli.Fail(cli.ExitError, "daemon_unreachable", "try again, or allow more with --timeout", "%s gave no answer within %v", c.base, c.timeout)
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil, cli.Fail(cli.ExitError, "daemon_unreachable", `start it with "meterseal serve", or give its address with --http`, "no daemon answers at %s", c.base)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			return nil, cli.Fail(cli.ExitError, "daemon_unreachable", "see its log, start it again and repeat this; what was stored is not lost", "the daemon at %s ended before it answered", c.base)
		}
		return nil, fmt.Errorf("ask %s: %w", c.base, err)
	}
	resp.Body = &cancelBody{resp.Body, cancel}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, problemError(resp)
}

type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

func problemError(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var p struct{ Code, Message, Detail, Title, Hint string }
	if json.Unmarshal(data, &p) != nil || (p.Message == "" && p.Detail == "" && p.Title == "") {
		return cli.Fail(cli.ExitError, "", "", "the daemon answered %s: %s", resp.Status, strings.TrimSpace(string(data)))
	}
	msg := p.Message
	for _, m := range []string{p.Detail, p.Title} {
		if msg == "" {
			msg = m
		}
	}
	if p.Code == events.CodeNotAuthenticated {
		p.Hint = `name a file with a token in --token-file; the first one is made while no daemon runs, "meterseal token add NAME --rights all --data DIR"`
	}
	return cli.Fail(cli.ExitError, p.Code, p.Hint, "%s", msg)
}

// sendJSON sends a JSON document and reads the answer into into, unless it is nil.
func (c *httpClient) sendJSON(ctx context.Context, method, path string, query url.Values, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, method, path, query, "application/json", bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read answer of %s: %w", c.base+path, err)
	}
	return nil
}

// getJSON asks for a JSON document.
func (c *httpClient) getJSON(ctx context.Context, path string, query url.Values, into any) error {
	resp, err := c.do(ctx, http.MethodGet, path, query, "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read answer of %s: %w", c.base+path, err)
	}
	return nil
}
