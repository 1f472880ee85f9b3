// `lathe run PIPELINE --compare a,b,c`: one prompt and seed through several schedulers.
#pragma once

#include <string>
#include <vector>

#include "cli/picture_model.h"
#include "cli/picture_request.h"
#include "cli/verb.h"

namespace lathe::cli {

// The names of --compare; "schedulers": all that make pictures with any model. Throws unsupported for others.
std::vector<std::string> schedulers_to_compare(const std::vector<std::string>& wish, bool guidance_embedded);

// A table (calls of the UNet, time, how far from a picture of flags.reference_steps with the model's own scheduler) and
// a contact sheet under flags.output: that picture first, then the table's, in order. `request` is complete.
Exit compare_schedulers(PictureModel model, const pipeline::PictureRequest& request, const PictureFlags& flags,
                        const pipeline::DiffuserOptions& options, const Output& output);

}  // namespace lathe::cli
