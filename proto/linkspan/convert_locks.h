// Locks on the wire and back; see convert.h.
#pragma once

#include "linkspan/convert.h"
#include "linkspan/lock_ops.h"

namespace linkspan::wire {

void to_wire(const SetLockRequest& request, v1::SetLockRequest* out);
void to_wire(const TestLockRequest& request, v1::TestLockRequest* out);
void to_wire(const CancelLockRequest& request, v1::CancelLockRequest* out);
void to_wire(const ReclaimLocksRequest& request, v1::ReclaimLocksRequest* out);
Result<SetLockRequest> from_wire(const v1::SetLockRequest& m);
Result<TestLockRequest> from_wire(const v1::TestLockRequest& m);
Result<CancelLockRequest> from_wire(const v1::CancelLockRequest& m);
Result<ReclaimLocksRequest> from_wire(const v1::ReclaimLocksRequest& m);

void to_wire(const SetLockReply& reply, v1::SetLockReply* out);
void to_wire(const TestLockReply& reply, v1::TestLockReply* out);
void to_wire(const CancelLockReply& reply, v1::CancelLockReply* out);
void to_wire(const ReclaimLocksReply& reply, v1::ReclaimLocksReply* out);
Result<SetLockReply> from_wire(v1::SetLockReply&& m);
Result<TestLockReply> from_wire(v1::TestLockReply&& m);
Result<CancelLockReply> from_wire(v1::CancelLockReply&& m);
Result<ReclaimLocksReply> from_wire(v1::ReclaimLocksReply&& m);

}  // namespace linkspan::wire
