#include "titan/data/data_loader.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <utility>

#include "titan/data/dataset_files.h"
#include "titan/data/document_starts.h"
#include "titan/data/pipeline.h"
#include "titan/logging/logger.h"

namespace titan::data {
namespace {

constexpr int64_t kIgnoredLabel = -100;

void check(const TextDatasetOptions& dataset, const SampleSlice& slice) {
  TORCH_CHECK_VALUE(dataset.seq_len >= 1, "DataLoader: seq_len: expected at least 1, got ", dataset.seq_len);
  TORCH_CHECK_VALUE(dataset.num_threads >= 1, "DataLoader: num_threads: expected at least 1, got ",
                    dataset.num_threads);
  TORCH_CHECK_VALUE(dataset.max_document_bytes >= 1, "DataLoader: max_document_bytes: expected at least 1, got ",
                    dataset.max_document_bytes);
  TORCH_CHECK_VALUE(
      slice.microbatch_size >= 1 && slice.rank_count >= 1 && slice.rank_count % slice.microbatch_size == 0,
      "DataLoader: rank_count: expected a multiple of microbatch_size (", slice.microbatch_size, "), got ",
      slice.rank_count);
  TORCH_CHECK_VALUE(slice.rank_begin >= 0 && slice.rank_begin + slice.rank_count <= slice.samples_per_step,
                    "DataLoader: rank_begin, rank_count: expected samples within the step's ", slice.samples_per_step,
                    ", got [", slice.rank_begin, ", ", slice.rank_begin + slice.rank_count, ")");
  TORCH_CHECK_VALUE(slice.first_sample >= 0, "DataLoader: first_sample: expected at least 0, got ", slice.first_sample);
}

std::vector<DatasetFile> checked_files(const TextDatasetOptions& dataset, const SampleSlice& slice) {
  check(dataset, slice);
  return list_dataset_files(dataset.path, dataset.key);
}

}  // namespace

DataLoader::DataLoader(TextDatasetOptions dataset, SampleSlice slice, Tokenizer tokenizer)
    : dataset_(std::move(dataset)),
      slice_(slice),
      pipeline_(std::make_unique<Pipeline>(checked_files(dataset_, slice_), dataset_, slice_, std::move(tokenizer))) {}

DataLoader::~DataLoader() = default;

std::optional<Batch> DataLoader::next() {
  if (error_) std::rethrow_exception(error_);
  if (at_end_) return std::nullopt;
  const int64_t seq_len = dataset_.seq_len;
  Batch batch{.input = at::empty({slice_.microbatch_size, seq_len}, at::kLong),
              .labels = at::empty({slice_.microbatch_size, seq_len}, at::kLong)};
  int64_t* input = batch.input.mutable_data_ptr<int64_t>();
  int64_t* labels = batch.labels.mutable_data_ptr<int64_t>();
  for (int64_t row_index = 0; row_index < slice_.microbatch_size;) {
    Item item = pipeline_->pop();
    if (item.kind != Item::Kind::kRow) {
      take_note(item);
      if (error_) std::rethrow_exception(error_);
      if (at_end_) return std::nullopt;  // the rows of a step are never cut short: see num_missing_rows
      continue;
    }
    const std::vector<int32_t>& tokens = item.row.tokens;
    const bool is_padding = tokens.empty();
    batch.samples.push_back(item.row.sample);
    for (int64_t i = 0; i < seq_len; ++i) {
      *input++ = is_padding ? 0 : tokens[i];
      *labels++ = is_padding ? kIgnoredLabel : tokens[i + 1];
    }
    ++row_index;
  }
  if (dataset_.document_end.has_value()) batch.document_starts = document_starts(batch.input, *dataset_.document_end);
  return batch;
}

// Everything in the stream that is not a row. Told here and not in the threads, so that it is told when it is reached.
void DataLoader::take_note(const Item& item) {
  switch (item.kind) {
    case Item::Kind::kRow:
      TORCH_INTERNAL_ASSERT(false);
    case Item::Kind::kSkippedLines:
      num_skipped_lines_ += item.count;
      if (!item.message.empty()) {
        logging::warning("{}; skipped", item.message);
      } else if (!told_of_more_) {
        told_of_more_ = true;
        logging::warning("Dataset {}: further broken lines are skipped and counted only", dataset_.name);
      }
      break;
    case Item::Kind::kResumed:
      epoch_ = item.epoch;
      logging::info("Dataset {} continues at sample {}, in epoch {}", dataset_.name, slice_.first_sample, epoch_);
      break;
    case Item::Kind::kEpochEnd:
      epoch_ = item.epoch;
      logging::warning("Dataset {} is being re-looped", dataset_.name);
      report_skipped_lines();
      break;
    case Item::Kind::kEnd:
      at_end_ = true;
      logging::warning("Dataset {} has run out of data", dataset_.name);
      report_skipped_lines();
      break;
    case Item::Kind::kError:
      error_ = item.error;
      break;
  }
}

void DataLoader::report_skipped_lines() const {
  if (num_skipped_lines_ == 0) return;
  logging::warning("Dataset {}: {} broken lines skipped so far", dataset_.name, num_skipped_lines_);
}

}  // namespace titan::data
