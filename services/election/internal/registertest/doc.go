// Package registertest is what every backend of the leadership record is held to, as
// tests against the real server. The backends' own tests call it.
package registertest
