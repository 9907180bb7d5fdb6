#include "fusefs/client/commit_stream.h"

#include "linkspan/convert.h"
#include "linkspan/limits.h"

namespace linkspan::client {

namespace {

// Cuts a source into parts. An extent that does not fit begins the next one.
class Packer {
 public:
  explicit Packer(ExtentSource* source) : source_(source) {
    if (source_ != nullptr) source_->rewind();
  }

  // False: this part is the last. `part` may hold the head already.
  Result<bool> fill(v1::CommitPart* part) {
    size_t bytes = 0, count = 0;
    for (;;) {
      if (!held_) {
        LINKSPAN_TRY(const bool more, pull());
        if (!more) return false;
      }
      const bool fits = count == 0 || (bytes + held_->data.size() <= limits::kPartBytes &&
                                       count < limits::kExtentsPerPart);
      if (!fits) return true;
      bytes += held_->data.size();
      ++count;
      wire::add_extent(std::move(*held_), part);
      held_.reset();
    }
  }

 private:
  Result<bool> pull() {
    if (source_ == nullptr) return false;
    for (;;) {
      Extent extent;
      LINKSPAN_TRY(const bool more, source_->next(&extent));
      if (!more) return false;
      if (extent.length == 0) continue;
      held_ = std::move(extent);
      return true;
    }
  }

  ExtentSource* const source_;
  std::optional<Extent> held_;
};

}  // namespace

grpc::Status stream_commit(v1::Fs::Stub& fs, grpc::ClientContext& context,
                           const CommitRequest& request, v1::MutationReply* reply,
                           std::optional<Error>* local) {
  auto writer = fs.Commit(&context, reply);
  Packer packer(request.extents.get());
  v1::CommitPart part;
  wire::to_wire(request, part.mutable_head());
  for (;;) {
    const auto more = packer.fill(&part);
    if (!more.ok()) {
      *local = more.error();
      context.TryCancel();
      break;
    }
    if (!*more) {
      writer->WriteLast(part, grpc::WriteOptions());
      break;
    }
    if (!writer->Write(part)) break;  // Finish says why
    part.Clear();
  }
  return writer->Finish();
}

}  // namespace linkspan::client
