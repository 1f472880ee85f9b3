# CUDA: liblathe_cuda.so by nvcc where it is, and the kernels as checked C++ for tests everywhere (docs/cuda.md).

# The hash that program and library compare, of the text of what passes between them.
file(SHA256 ${CMAKE_SOURCE_DIR}/src/backend/cuda/abi.h LATHE_CUDA_ABI_HASH)
string(SUBSTRING ${LATHE_CUDA_ABI_HASH} 0 16 LATHE_CUDA_ABI_HASH)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/backend/cuda/abi.h)
set_property(SOURCE ${CMAKE_SOURCE_DIR}/src/backend/cuda/host/library.cpp
             APPEND PROPERTY COMPILE_DEFINITIONS LATHE_CUDA_ABI_HASH="${LATHE_CUDA_ABI_HASH}")

set(LATHE_CUDA_ARCHITECTURES 80 86 89 90 90a CACHE STRING "compute capabilities that liblathe_cuda.so is compiled for")

if(LATHE_TESTS)
  enable_language(C)  # of the libraries that tests open instead of the real ones
endif()

# lathe_cuda_library(): lathe_cuda makes liblathe_cuda.so beside the program, or a line says why there is none.
function(lathe_cuda_library)
  find_program(LATHE_NVCC nvcc HINTS /usr/local/cuda/bin)
  if(NOT LATHE_NVCC)
    message(STATUS "no nvcc: liblathe_cuda.so is not built, its kernels are tested on the emulated device only")
    return()
  endif()
  execute_process(COMMAND ${LATHE_NVCC} --version OUTPUT_VARIABLE version RESULT_VARIABLE failed)
  if(failed OR NOT version MATCHES "release ([0-9]+)\\.[0-9]+" OR CMAKE_MATCH_1 LESS 13)
    message(STATUS "${LATHE_NVCC} is not of CUDA 13 or later: liblathe_cuda.so is not built")
    return()
  endif()
  set(code "")
  set(names "")
  foreach(architecture ${LATHE_CUDA_ARCHITECTURES})
    list(APPEND code -gencode arch=compute_${architecture},code=sm_${architecture})
    string(APPEND names "sm_${architecture} ")
  endforeach()
  list(GET LATHE_CUDA_ARCHITECTURES -1 newest)
  string(REGEX MATCH "^[0-9]+" newest ${newest})
  list(APPEND code -gencode arch=compute_${newest},code=compute_${newest})  # PTX for what comes later
  string(APPEND names "compute_${newest}")

  set(flags -std=c++20 -O3 -Werror all-warnings -Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra,-Werror
            -I${CMAKE_SOURCE_DIR}/src)
  set(objects "")
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/backend/cuda/library/*.cu)
  foreach(source ${sources})
    get_filename_component(stem ${source} NAME_WE)
    set(object ${CMAKE_BINARY_DIR}/cuda/${stem}.o)
    set(definitions "")
    if(stem STREQUAL "library")  # it alone says what it is
      set(definitions -DLATHE_CUDA_ABI_HASH="${LATHE_CUDA_ABI_HASH}" "-DLATHE_CUDA_ARCHITECTURES=\"${names}\"")
    endif()
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/cuda
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${LATHE_NVCC} ${flags} ${definitions} ${code}
              -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d COMMENT "nvcc ${stem}.cu for ${names}" VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  # CUDA's runtime and the C++ library go in: what is left to find at run time is glibc, and the driver when called.
  set(library ${CMAKE_BINARY_DIR}/liblathe_cuda.so)
  add_custom_command(OUTPUT ${library}
    COMMAND ${LATHE_NVCC} -shared -cudart static -o ${library} ${objects}
            -Xcompiler=-static-libgcc,-static-libstdc++ -Xlinker=--exclude-libs,ALL -Xlinker=-z,defs
    DEPENDS ${objects} COMMENT "Linking liblathe_cuda.so" VERBATIM)
  add_custom_target(lathe_cuda ALL DEPENDS ${library})
  install(FILES ${library} DESTINATION lib OPTIONAL)
  set(LATHE_CUDA_BUILT ${library} PARENT_SCOPE)
endfunction()

# lathe_fake_library(FOLDER FILE SOURCE DEFINITION...): fakes/FOLDER/FILE, a library that tests open instead of the real
# one, made of host/fakes/SOURCE.
function(lathe_fake_library folder file source)
  set(target fake_${folder})
  add_library(${target} MODULE ${CMAKE_SOURCE_DIR}/src/backend/cuda/host/fakes/${source})
  set_target_properties(${target} PROPERTIES
    COMPILE_OPTIONS "-Wall;-Wextra;-Wpedantic;-Werror" C_STANDARD 11 C_EXTENSIONS OFF C_VISIBILITY_PRESET hidden
    INCLUDE_DIRECTORIES ${CMAKE_SOURCE_DIR}/src PREFIX "" SUFFIX "" OUTPUT_NAME ${file}
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fakes/${folder})
  target_compile_definitions(${target} PRIVATE LATHE_CUDA_ABI_HASH="${LATHE_CUDA_ABI_HASH}" ${ARGN})
  set_property(GLOBAL APPEND PROPERTY lathe_fakes ${target})
endfunction()

function(lathe_fake_libraries)
  foreach(variant no_driver old_driver no_device old_gpu two_gpus failing_gpu other_build no_open)
    string(TOUPPER FAKE_${variant} definition)
    lathe_fake_library(${variant} liblathe_cuda.so lathe_cuda.c ${definition})
  endforeach()
  lathe_fake_library(driver_12 libcuda.so.1 driver.c VERSION=12040 INIT=0)
  lathe_fake_library(driver_13 libcuda.so.1 driver.c VERSION=13000 INIT=100)  # CUDA_ERROR_NO_DEVICE
  lathe_fake_library(cublaslt_13 libcublasLt.so.13 optional.c VERSION_OF=cublasLtGetVersion VERSION=130100
                     CUDA_OF=cublasLtGetCudartVersion CUDA=13000)
  lathe_fake_library(cublaslt_12 libcublasLt.so.12 optional.c VERSION_OF=cublasLtGetVersion VERSION=120803
                     CUDA_OF=cublasLtGetCudartVersion CUDA=12080)
  lathe_fake_library(cublaslt_odd libcublasLt.so.13 optional.c VERSION_OF=somethingElse VERSION=1
                     CUDA_OF=somethingMore CUDA=1)
  lathe_fake_library(cudnn_9 libcudnn.so.9 optional.c VERSION_OF=cudnnGetVersion VERSION=91900
                     CUDA_OF=cudnnGetCudartVersion CUDA=13010)
  lathe_fake_library(cudnn_cuda12 libcudnn.so.9 optional.c VERSION_OF=cudnnGetVersion VERSION=90100
                     CUDA_OF=cudnnGetCudartVersion CUDA=12040)
  lathe_fake_library(cudnn_8 libcudnn.so.8 optional.c VERSION_OF=cudnnGetVersion VERSION=8907
                     CUDA_OF=cudnnGetCudartVersion CUDA=12000)
endfunction()

# lathe_emulated_library(TARGET SCHEDULER DEFINITION...): the launches of liblathe_cuda.so, compiled by g++ for the
# emulated device, as a library that tests run whole models on.
function(lathe_emulated_library target scheduler)
  set(cuda ${CMAKE_SOURCE_DIR}/src/backend/cuda)
  file(GLOB launches CONFIGURE_DEPENDS ${cuda}/library/*.cu)
  list(FILTER launches EXCLUDE REGEX "/(library|self_test)\\.cu$")  # CUDA's own devices, memory and streams
  set_source_files_properties(${launches} PROPERTIES LANGUAGE CXX)
  add_library(${target} MODULE ${launches} ${cuda}/emulation/quick/library.cpp ${cuda}/emulation/memory.cpp ${scheduler})
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(${target} PRIVATE fmt::fmt Boost::context)
  # The program needs AVX2 and FMA anyway; without them each multiply-add of a kernel is a call.
  target_compile_options(${target} PRIVATE -mavx2 -mfma $<$<CONFIG:Release>:-O2>)
  target_compile_definitions(${target} PRIVATE LATHE_CUDA_ABI_HASH="${LATHE_CUDA_ABI_HASH}" ${ARGN})
  set_target_properties(${target} PROPERTIES PREFIX "lib" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/emulated)
endfunction()

# Whole models on the emulated device, through the program's own host code.
function(lathe_cuda_models)
  set(emulation ${CMAKE_SOURCE_DIR}/src/backend/cuda/emulation)
  lathe_emulated_library(lathe_cuda_emulated ${emulation}/quick/block.cpp)
  lathe_emulated_library(lathe_cuda_checked ${emulation}/block.cpp LATHE_EMULATION_CHECKED)
  add_executable(test_cuda_models ${CMAKE_SOURCE_DIR}/tests/cuda/models_test.cpp)
  target_link_libraries(test_cuda_models PRIVATE lathe_verify GTest::gtest GTest::gmock GTest::gtest_main
                                                 ${CMAKE_DL_LIBS})
  target_compile_options(test_cuda_models PRIVATE $<$<CONFIG:Release>:-O1>)
  target_compile_definitions(test_cuda_models PRIVATE LATHE_TESTS_DIR="${CMAKE_SOURCE_DIR}/tests"
                                                      LATHE_EMULATED_DIR="${CMAKE_BINARY_DIR}/emulated")
  add_dependencies(test_cuda_models lathe_cuda_emulated lathe_cuda_checked)
  add_test(NAME cuda_models COMMAND test_cuda_models)
  set_tests_properties(cuda_models PROPERTIES LABELS cuda_emulated)
endfunction()

# lathe_cuda(): the library, and test_cuda of src/backend/cuda/**_test.cpp on the emulated device and with the libraries
# above (label cuda_emulated).
function(lathe_cuda)
  lathe_cuda_library()
  if(NOT LATHE_TESTS)
    return()
  endif()
  lathe_fake_libraries()
  find_package(Boost 1.74 REQUIRED COMPONENTS context)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/backend/cuda/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/cuda/(host|ops|emulation/quick)/[a-z_]*\\.cpp$")
  file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/backend/cuda/host/*_test.cpp)
  # What chooses tokens on the device is held to what does on the CPU, a layer that nothing in src/backend may include.
  list(APPEND tests ${CMAKE_SOURCE_DIR}/tests/cuda/sample_test.cpp ${CMAKE_SOURCE_DIR}/tests/cuda/sample_on_device_test.cpp)
  list(APPEND sources ${CMAKE_SOURCE_DIR}/src/pipeline/generate/sampler.cpp
                      ${CMAKE_SOURCE_DIR}/src/pipeline/generate/vocabulary_scan.cpp)
  add_executable(test_cuda ${sources} ${tests})
  target_link_libraries(test_cuda PRIVATE lathe_backend Boost::context GTest::gtest GTest::gmock GTest::gtest_main
                                          ${CMAKE_DL_LIBS})
  target_compile_options(test_cuda PRIVATE $<$<CONFIG:Release>:-O2>)
  target_compile_definitions(test_cuda PRIVATE LATHE_TESTS_DIR="${CMAKE_SOURCE_DIR}/tests"
                                               LATHE_FAKES_DIR="${CMAKE_BINARY_DIR}/fakes"
                                               LATHE_CUDA_BUILT="${LATHE_CUDA_BUILT}")
  get_property(fakes GLOBAL PROPERTY lathe_fakes)
  add_dependencies(test_cuda ${fakes})
  if(TARGET lathe_cuda)
    add_dependencies(test_cuda lathe_cuda)
  endif()
  lathe_cuda_models()
  add_test(NAME cuda COMMAND test_cuda)
  # The tests for a GPU that an emulated one gets through, on the launches of the library.
  add_test(NAME cuda_launches COMMAND test_cuda --gtest_filter=RowsOnDevice.*:AttentionOnDevice.*)
  add_dependencies(test_cuda lathe_cuda_emulated)
  set_tests_properties(cuda_launches PROPERTIES
                       ENVIRONMENT LATHE_CUDA_LIBRARY=$<TARGET_FILE:lathe_cuda_emulated>)
  set_tests_properties(cuda cuda_launches PROPERTIES LABELS cuda_emulated)
endfunction()
