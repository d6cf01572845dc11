// Package ec2standin is an HTTP server that speaks enough of the EC2 Query
// protocol (form in, XML out, version 2016-11-15) for the unmodified AWS SDK
// to take it for EC2. It holds a small world of VPCs, subnets, route tables,
// prefix lists, instances and network interfaces; clients change it through the
// API, tests and the lab change it through Go methods, and both can watch it.
//
//	srv := ec2standin.New(ec2standin.Config{Region: "us-west-2"})
//	_ = srv.AddVPC(ec2standin.VPC{ID: "vpc-1", CIDRs: []netip.Prefix{...}})
//	_ = srv.AddSubnet(ec2standin.Subnet{ID: "subnet-a", VPC: "vpc-1", ...})
//	_ = srv.AddRouteTable(ec2standin.RouteTable{ID: "rtb-1", VPC: "vpc-1", Main: true})
//	_ = srv.AddInstance(ec2standin.Instance{ID: "i-1"})
//	_ = srv.AddENI(ec2standin.ENI{ID: "eni-1", Subnet: "subnet-a", Instance: "i-1", ...})
//	api := httptest.NewServer(srv)                    // AWS_ENDPOINT_URL = api.URL
//	meta := httptest.NewServer(srv.IMDS("i-1"))       // AWS_EC2_METADATA_SERVICE_ENDPOINT = meta.URL
//
// # What is like EC2
//
//   - Error codes, HTTP status and error XML; every answer has a request id.
//   - A destination's host bits are cleared. Each VPC CIDR is an implied
//     "local" route that can be neither replaced nor deleted.
//   - A route whose interface is gone, detached, or attached to an instance
//     that does not run stays in its table, in state blackhole.
//   - ReplaceRoute of a destination the table does not have fails with
//     InvalidParameterValue ("Use CreateRoute instead"), as EC2 does;
//     DeleteRoute fails with InvalidRoute.NotFound. Config.ReplaceMissingCode
//     selects the other code for ReplaceRoute.
//   - A route may lead to a managed prefix list, whose maximum size counts
//     against the table's quota of routes. A list is created, changed and
//     deleted in the course of time (Config.PrefixListDuration), one change
//     after the other. TableSnapshot.Effective tells which route counts.
//   - A request must be signed (Signature Version 4, service ec2). Form and
//     credential scope are checked, the signature's value is not: any access
//     key is good, and is noted in the call log.
//   - An access key may do everything, or what the IAM policies allow that
//     SetPolicies gives it: action, resource and condition, explicit denies
//     first, for DryRun as well.
//   - A call takes effect whether or not its client still waits for the answer.
//
// # What a test can set
//
// SetFaults sets latency, throttling, error rates, stale reads, lost replies
// and connection resets; FailNext and LoseNext arm single calls; Calls and
// CallCounts tell what was asked; SetPolicies limits what is allowed.
//
// A parameter that EC2 knows and the stand-in does not is refused with
// UnsupportedOperation, an action with InvalidAction; nothing is ignored. The
// prefix lists that AWS itself manages do not exist.
package ec2standin
