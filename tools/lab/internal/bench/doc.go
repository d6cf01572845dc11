// Package bench measures, in a lab, what the death of the active gateway's node
// costs, and where the time goes; and what planned changes of leaders cost.
package bench
