// Package processes runs programs inside the hosts of the virtual world, with
// nothing inherited from the caller but what is given: an environment, an
// argument list and a log file. They are killed by the kernel when the lab
// dies, however it dies.
package processes
