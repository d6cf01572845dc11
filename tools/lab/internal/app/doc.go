// Package app is the lab's commands: demo, up, down and exec.
package app
